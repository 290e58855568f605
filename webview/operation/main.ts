import type { FromOperation, ToOperation } from '../../contract/webview.ts';
import { connectHost } from '../parts/host.ts';
import { page } from '../parts/theme.ts';
import { OperationPanel } from './operationPanel.ts';

if (page.styleSheet) document.adoptedStyleSheets = [...document.adoptedStyleSheets, page.styleSheet];
document.body.append(new OperationPanel(connectHost<FromOperation, ToOperation>(['operation', 'missing', 'timeline', 'maskReported'])));
