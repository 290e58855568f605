import './withoutEval.ts';
import { Console } from './console.ts';
import { applyTheme, consoleTheme } from './theme.ts';

if (consoleTheme.styleSheet) document.adoptedStyleSheets = [...document.adoptedStyleSheets, consoleTheme.styleSheet];
applyTheme();
document.body.append(new Console());
