/** The console's colours, in the editor's own names, so that the panels' parts look right outside an editor. Contrast is at least 4.5 : 1. */
import { css } from 'lit';

export const consoleTheme = css`
  :root {
    color-scheme: light dark;
    --vscode-font-family: system-ui, -apple-system, 'Segoe UI', sans-serif;
    --vscode-font-size: 14px;
    --vscode-font-weight: normal;
    --vscode-editor-font-family: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
    --vscode-editor-font-size: 13px;
    --vscode-editor-font-weight: normal;
    --vscode-foreground: light-dark(#1d2423, #dfe6e4);
    --vscode-descriptionForeground: light-dark(#56615f, #9aa8a5);
    --vscode-icon-foreground: light-dark(#414c4a, #b9c5c2);
    --vscode-disabledForeground: light-dark(#6c7775, #84918e);
    --vscode-errorForeground: light-dark(#b3261e, #ff8f85);
    --vscode-focusBorder: light-dark(#0b6b5f, #4fd1bd);
    --vscode-editor-background: light-dark(#ffffff, #151a19);
    --vscode-editor-foreground: var(--vscode-foreground);
    --vscode-sideBar-background: light-dark(#f3f6f5, #0f1413);
    --vscode-sideBarSectionHeader-foreground: var(--vscode-foreground);
    --vscode-widget-border: light-dark(#d3dbd9, #313a38);
    --vscode-panel-border: var(--vscode-widget-border);
    --vscode-panel-background: transparent;
    --vscode-panelTitle-activeForeground: var(--vscode-foreground);
    --vscode-panelTitle-activeBorder: var(--vscode-focusBorder);
    --vscode-panelTitle-inactiveForeground: var(--vscode-descriptionForeground);
    --vscode-settings-headerBorder: var(--vscode-widget-border);
    --vscode-editorWidget-background: light-dark(#f8faf9, #1b2220);
    --vscode-editorHoverWidget-background: var(--vscode-editorWidget-background);
    --vscode-editorHoverWidget-foreground: var(--vscode-foreground);
    --vscode-editorHoverWidget-border: var(--vscode-widget-border);
    --vscode-textCodeBlock-background: light-dark(#f1f4f3, #0f1413);
    --vscode-textLink-foreground: light-dark(#0b6b5f, #56cfbd);
    --vscode-textLink-activeForeground: light-dark(#084f46, #84e3d5);
    --vscode-list-hoverBackground: light-dark(#e9efed, #222b29);
    --vscode-list-activeSelectionBackground: light-dark(#d8ebe7, #1d3d38);
    --vscode-button-background: light-dark(#0b6b5f, #2a9d8c);
    --vscode-button-foreground: light-dark(#ffffff, #06110f);
    --vscode-button-hoverBackground: light-dark(#08564c, #45b5a5);
    --vscode-button-border: transparent;
    --vscode-button-secondaryBackground: light-dark(#e3e9e7, #2b3533);
    --vscode-button-secondaryForeground: var(--vscode-foreground);
    --vscode-button-secondaryHoverBackground: light-dark(#d3dbd9, #37433f);
    --vscode-badge-background: light-dark(#0b6b5f, #2a9d8c);
    --vscode-badge-foreground: light-dark(#ffffff, #06110f);
    --vscode-input-background: light-dark(#ffffff, #0f1413);
    --vscode-settings-textInputBackground: var(--vscode-input-background);
    --vscode-settings-textInputForeground: var(--vscode-foreground);
    --vscode-settings-textInputBorder: light-dark(#8a9694, #5b6865);
    --vscode-input-placeholderForeground: light-dark(#66716f, #8c9a97);
    --vscode-dropdown-background: var(--vscode-input-background);
    --vscode-dropdown-listBackground: var(--vscode-editorWidget-background);
    --vscode-dropdown-foreground: var(--vscode-foreground);
    --vscode-dropdown-border: light-dark(#8a9694, #5b6865);
    --vscode-checkbox-background: var(--vscode-input-background);
    --vscode-checkbox-foreground: var(--vscode-foreground);
    --vscode-checkbox-border: light-dark(#8a9694, #5b6865);
    --vscode-progressBar-background: light-dark(#0b6b5f, #2a9d8c);
    --vscode-testing-iconPassed: light-dark(#1a7f37, #5ec77a);
    --vscode-editorWarning-foreground: light-dark(#8a5a00, #e6b450);
    --vscode-charts-yellow: var(--vscode-editorWarning-foreground);
    --vscode-inputValidation-errorBackground: light-dark(#fdecea, #3a1917);
    --vscode-inputValidation-errorForeground: var(--vscode-foreground);
    --vscode-inputValidation-errorBorder: light-dark(#b3261e, #ff8f85);
    --vscode-inputValidation-warningBackground: light-dark(#fff5dc, #352b12);
    --vscode-inputValidation-warningForeground: var(--vscode-foreground);
    --vscode-inputValidation-warningBorder: light-dark(#8a5a00, #e6b450);
    --vscode-inputValidation-infoBackground: light-dark(#e7f3f1, #142c29);
    --vscode-inputValidation-infoForeground: var(--vscode-foreground);
    --vscode-inputValidation-infoBorder: light-dark(#0b6b5f, #4fd1bd);
    --vscode-diffEditor-insertedTextBackground: light-dark(#d4efdc, #16361f);
    --vscode-diffEditor-removedTextBackground: light-dark(#fbdedb, #451c19);
    --vscode-debugTokenExpression-boolean: light-dark(#0451a5, #6fb3ff);
    --vscode-debugTokenExpression-name: light-dark(#7a3e9d, #d3a4ff);
    --vscode-debugTokenExpression-string: light-dark(#9a2d1d, #f0a58f);
    --vscode-debugTokenExpression-number: light-dark(#0a6b3d, #9fdc9f);
    --vscode-symbolIcon-fieldForeground: light-dark(#7a3e9d, #d3a4ff);
    --vscode-editorLineNumber-foreground: var(--vscode-descriptionForeground);
    --vscode-scrollbar-shadow: light-dark(#00000022, #00000066);
    --vscode-scrollbarSlider-background: light-dark(#00000033, #ffffff33);
    --vscode-scrollbarSlider-hoverBackground: light-dark(#00000055, #ffffff55);
    --vscode-scrollbarSlider-activeBackground: light-dark(#00000077, #ffffff77);
  }
  :root[data-theme='light'] {
    color-scheme: light;
  }
  :root[data-theme='dark'] {
    color-scheme: dark;
  }
  @media (prefers-contrast: more) {
    :root {
      --vscode-contrastBorder: currentColor;
      --vscode-descriptionForeground: var(--vscode-foreground);
    }
  }
  html,
  body {
    margin: 0;
    padding: 0;
    min-height: 100vh;
    background: var(--vscode-editor-background);
  }
`;

const KEY = 'countersign.theme';
const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return THEMES.find((name) => name === kept) ?? 'system';
}

/** Dark, light, or whatever the system says, in turn. */
export function nextTheme(): Theme {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length] ?? 'system';
  localStorage.setItem(KEY, next);
  applyTheme();
  return next;
}

export function applyTheme(): void {
  const chosen = theme();
  if (chosen === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = chosen;
}
