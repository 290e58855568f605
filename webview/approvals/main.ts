import type { FromApprovals, ToApprovals } from '../../contract/webview.ts';
import { connectHost } from '../parts/host.ts';
import { page } from '../parts/theme.ts';
import { ApprovalsPanel } from './approvalsPanel.ts';

if (page.styleSheet) document.adoptedStyleSheets = [...document.adoptedStyleSheets, page.styleSheet];
document.body.append(new ApprovalsPanel(connectHost<FromApprovals, ToApprovals>(['snapshot', 'answered', 'proposal', 'ruleAdded', 'reveal'])));
