/** The editor's side of a panel, typed. Messages to a panel come from the extension alone, which decoded them already. */
interface EditorApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}
declare function acquireVsCodeApi(): EditorApi;

export interface Host<From, To> {
  post(message: From): void;
  /** @returns a function that stops listening */
  listen(take: (message: To) => void): () => void;
  /** What an earlier view of this panel kept; `undefined` at first. Not trusted to have the right shape. */
  readonly kept: unknown;
  keep(state: object): void;
}

export function connectHost<From, To extends { readonly type: string }>(types: readonly To['type'][]): Host<From, To> {
  const api = acquireVsCodeApi();
  return {
    post: (message) => api.postMessage(message),
    listen(take) {
      const listener = ({ data }: MessageEvent<unknown>): void => {
        if (typeof data === 'object' && data !== null && 'type' in data && types.some((t) => t === data.type)) take(data as To);
      };
      window.addEventListener('message', listener);
      return () => window.removeEventListener('message', listener);
    },
    get kept() {
      return api.getState();
    },
    keep: (state) => api.setState(state),
  };
}
