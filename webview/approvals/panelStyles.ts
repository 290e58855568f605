import { css } from 'lit';
import { shared } from '../parts/theme.ts';

export const panelStyles = [
  shared,
  css`
    :host {
      display: block;
      min-width: 0;
    }
    main {
      padding: 8px 10px 16px;
    }
    .loading {
      padding: 10px;
    }
    .count {
      padding: 0 2px 6px;
      font-size: 0.92em;
    }
    .section {
      padding: 12px 2px 4px;
      font-size: 11px;
      font-weight: 700;
      color: var(--vscode-sideBarSectionHeader-foreground, var(--vscode-foreground));
    }
    .list > li + li {
      margin-top: 8px;
    }
    .list > li > cs-ask-card + *,
    .list > li > cs-ask-card {
      margin-top: 4px;
    }
    .row {
      display: flex;
      align-items: baseline;
      gap: 4px;
      width: 100%;
      padding: 4px 6px;
      font: inherit;
      color: inherit;
      text-align: start;
      background: none;
      border: 1px solid var(--edge);
      border-radius: 4px;
      cursor: pointer;
    }
    .row:hover {
      background: var(--vscode-list-hoverBackground);
      color: var(--vscode-list-hoverForeground, inherit);
    }
    .row .icon {
      align-self: center;
    }
    .row .headline {
      flex: 1;
      min-width: 0;
      overflow: hidden;
      text-overflow: ellipsis;
      white-space: nowrap;
    }
    .row .time {
      font-variant-numeric: tabular-nums;
      color: var(--quiet);
    }
    .row .time.soon {
      color: var(--soon);
      font-weight: 600;
    }
    .more {
      padding: 2px 4px 0;
    }
    .rows {
      display: grid;
      gap: 4px;
      padding: 2px 0 4px 16px;
    }
    .together .buttons {
      display: flex;
      flex-wrap: wrap;
      gap: 6px;
      padding-top: 4px;
    }
    .quietLine {
      display: flex;
      align-items: baseline;
      gap: 5px;
      padding: 2px;
      overflow-wrap: anywhere;
    }
    .quietLine .icon {
      align-self: flex-start;
      margin-top: 2px;
    }
    .empty {
      padding: 16px 8px 20px;
      text-align: center;
    }
    .empty .icon {
      font-size: 28px;
      margin-bottom: 6px;
      color: var(--vscode-icon-foreground, var(--quiet));
    }
    .banner {
      display: flex;
      gap: 6px;
      margin-bottom: 8px;
      padding: 6px 8px;
      border: 1px solid var(--edge);
      border-radius: 3px;
      overflow-wrap: anywhere;
    }
    .banner > div {
      min-width: 0;
    }
    .banner.error {
      background: var(--vscode-inputValidation-errorBackground);
      color: var(--vscode-inputValidation-errorForeground, inherit);
      border-color: var(--vscode-inputValidation-errorBorder, var(--edge));
    }
    .banner.warning {
      background: var(--vscode-inputValidation-warningBackground);
      color: var(--vscode-inputValidation-warningForeground, inherit);
      border-color: var(--vscode-inputValidation-warningBorder, var(--edge));
    }
    .banner.info {
      background: var(--vscode-inputValidation-infoBackground);
      color: var(--vscode-inputValidation-infoForeground, inherit);
      border-color: var(--vscode-inputValidation-infoBorder, var(--edge));
    }
    .acts {
      display: flex;
      flex-wrap: wrap;
      gap: 2px 12px;
      margin-top: 2px;
    }
  `,
];
