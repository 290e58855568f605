/** The language server's half of the control channel, for `countersign.yaml`. */
import type { MessageConnection } from 'vscode-jsonrpc/node';
import type { CompletionItem, Diagnostic, Hover, Position, ServerCapabilities } from 'vscode-languageserver-protocol';
import { z } from 'zod';

/** Documents that are open at once in one window, and the longest one that is looked at, in UTF-16 units. */
const MAX_DOCUMENTS = 50;
const MAX_DOCUMENT_CHARS = 1_000_000;

/** What is known about the language of policy files. Pure: text in, findings out. */
export interface LanguageService {
  readonly capabilities: ServerCapabilities;
  diagnostics(text: string, uri: string): readonly Diagnostic[];
  completion(text: string, position: Position): readonly CompletionItem[];
  hover(text: string, position: Position): Hover | null;
}

const Uri = z.string().max(4_096);
const At = z.object({ line: z.number().int().nonnegative(), character: z.number().int().nonnegative() });
const Opened = z.object({ textDocument: z.object({ uri: Uri, languageId: z.string(), version: z.number().int(), text: z.string() }) });
const Changed = z.object({
  textDocument: z.object({ uri: Uri, version: z.number().int() }),
  contentChanges: z.array(z.object({ text: z.string(), range: z.undefined().optional() })).min(1),
});
const Closed = z.object({ textDocument: z.object({ uri: Uri }) });
const Asked = z.object({ textDocument: z.object({ uri: Uri }), position: At });

/** Answers a window's language requests; documents are kept as long as the window has them open. */
export function serveLanguage(rpc: MessageConnection, service: LanguageService, open: () => boolean): void {
  const documents = new Map<string, string>();
  const publish = (uri: string, version: number, text: string): void => {
    const diagnostics = text.length > MAX_DOCUMENT_CHARS ? [] : service.diagnostics(text, uri);
    rpc.sendNotification('textDocument/publishDiagnostics', { uri, version, diagnostics }).catch(() => undefined);
  };
  const keep = (uri: string, version: number, text: string): void => {
    if (!documents.has(uri) && documents.size >= MAX_DOCUMENTS) return;
    documents.set(uri, text);
    publish(uri, version, text);
  };
  rpc.onNotification('textDocument/didOpen', (params: unknown) => {
    const { success, data } = Opened.safeParse(params);
    if (success && open()) keep(data.textDocument.uri, data.textDocument.version, data.textDocument.text);
  });
  rpc.onNotification('textDocument/didChange', (params: unknown) => {
    const { success, data } = Changed.safeParse(params);
    // Whole texts are what we asked for; the last one stands.
    if (success && open() && documents.has(data.textDocument.uri)) {
      keep(data.textDocument.uri, data.textDocument.version, data.contentChanges.at(-1)?.text ?? '');
    }
  });
  rpc.onNotification('textDocument/didClose', (params: unknown) => {
    const { success, data } = Closed.safeParse(params);
    if (!success || !documents.delete(data.textDocument.uri)) return;
    rpc.sendNotification('textDocument/publishDiagnostics', { uri: data.textDocument.uri, diagnostics: [] }).catch(() => undefined);
  });
  const ask = (method: string, none: unknown, answer: (text: string, position: Position) => unknown): void => {
    rpc.onRequest(method, (params: unknown): unknown => {
      const { success, data } = Asked.safeParse(params);
      const text = success ? documents.get(data.textDocument.uri) : undefined;
      return success && open() && text !== undefined && text.length <= MAX_DOCUMENT_CHARS ? answer(text, data.position) : none;
    });
  };
  ask('textDocument/completion', [], (text, position) => service.completion(text, position));
  ask('textDocument/hover', null, (text, position) => service.hover(text, position));
}
