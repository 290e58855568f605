import type { Disposable } from 'vscode';

/** Owns disposables. What is added after it was disposed is disposed at once, so nothing outlives its owner. */
export class Disposables implements Disposable {
  #items: Disposable[] | undefined = [];

  add<T extends Disposable>(item: T): T {
    if (this.#items === undefined) item.dispose();
    else this.#items.push(item);
    return item;
  }

  get disposed(): boolean {
    return this.#items === undefined;
  }

  dispose(): void {
    const items = this.#items ?? [];
    this.#items = undefined;
    for (const item of items.reverse()) item.dispose();
  }
}
