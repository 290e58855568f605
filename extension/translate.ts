/** `vscode.l10n.t`, handed in, so that what needs no editor can be tested without one. */
export type Translate = (message: string, ...args: (string | number)[]) => string;

/** English as written, with `{0}` filled in. */
export const english: Translate = (message, ...args) => message.replace(/\{(\d+)\}/g, (whole, index: string) => String(args[Number(index)] ?? whole));
