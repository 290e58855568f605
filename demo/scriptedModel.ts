/**
 * A model whose answers are a script: an OpenAI-compatible endpoint on loopback for VS Code's built-in "Custom Endpoint"
 * provider. The editor's own agent mode runs for real; only what the model says is written down beforehand.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';

/** One turn: what the model says (`{last}` stands for the last tool result), and the tool it calls, if any. */
export interface Step {
  readonly text?: string;
  readonly tool?: string;
  readonly input?: Readonly<Record<string, unknown>>;
}

/** A conversation the model can play: chosen by the first script whose `when` matches what the user typed. */
export interface Script {
  readonly when: RegExp;
  /** A request that `when` matches, to suggest to a person. */
  readonly title: string;
  readonly steps: readonly Step[];
}

interface ChatMessage {
  readonly role: string;
  readonly content: string | readonly { readonly text?: string }[];
}

interface ChatRequest {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
}

/** Longest request body that is read, in bytes. */
const MAX_BODY_BYTES = 32 << 20;

/** An extension for an editor with such a model: it switches the chat on, which otherwise wants a sign-in first. */
export const WAKE_CHAT = resolve(import.meta.dirname, '../out/wake-chat.vsix');

const textOf = (content: ChatMessage['content'] | undefined): string =>
  typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('');

/** What the model answers next, from the conversation so far: a pure function of the request. */
function nextStep(scripts: readonly Script[], request: ChatRequest): Step {
  const isUser = (m: ChatMessage) => m.role === 'user' && textOf(m.content).includes('<userRequest>');
  const from = request.messages.findLastIndex(isUser);
  const asked = /<userRequest>([\s\S]*?)<\/userRequest>/.exec(textOf(request.messages[from]?.content))?.[1]?.trim() ?? '';
  const results = request.messages.slice(from + 1).filter((m) => m.role === 'tool');
  const script = scripts.find((s) => s.when.test(asked));
  if (!script) return { text: `I am a scripted model and know only these requests:\n\n${scripts.map((s) => `- ${s.title}`).join('\n')}` };
  const step = script.steps[Math.min(results.length, script.steps.length - 1)] ?? {};
  return { ...step, ...(step.text !== undefined && { text: step.text.replace('{last}', textOf(results.at(-1)?.content)) }) };
}

/** How the model says that it was not given the tool that it would call. */
export const NOT_OFFERED = 'The editor offered no tool called';

export class ScriptedModel {
  scripts: readonly Script[];
  /** Every tool result that the model was shown, newest last. */
  readonly toolResults: string[] = [];
  /** For the editor's process: `WAKE_CHAT` goes by it. */
  readonly env = { COUNTERSIGN_DEMO_MODEL: 'scripted' };
  #calls = 0;
  #close: () => void = () => {};
  url = '';

  constructor(scripts: readonly Script[]) {
    this.scripts = scripts;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > MAX_BODY_BYTES) request.destroy();
      });
      request.on('end', () => {
        const delta = this.#answer(JSON.parse(body || '{}') as ChatRequest);
        const send = (part: object, finish: string | null) =>
          response.write(
            `data: ${JSON.stringify({ id: 's', object: 'chat.completion.chunk', created: 1, model: 'scripted', choices: [{ index: 0, delta: part, finish_reason: finish }] })}\n\n`,
          );
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        send({ role: 'assistant', ...delta }, null);
        send({}, 'tool_calls' in delta ? 'tool_calls' : 'stop');
        response.end('data: [DONE]\n\n');
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat/completions`;
    this.#close = () => {
      server.close();
      server.closeAllConnections();
    };
  }

  stop(): void {
    this.#close();
  }

  /** Writes the model into an editor profile. A model of one's own is also what lets agent mode run without signing in. */
  install(userDataDir: string): void {
    const models = [
      { id: 'scripted', name: 'Scripted Model', url: this.url, toolCalling: true, vision: false, maxInputTokens: 200_000, maxOutputTokens: 8000 },
    ];
    const group = [{ name: 'Scripted', vendor: 'customendpoint', apiKey: 'none', apiType: 'chat-completions', models }];
    mkdirSync(join(userDataDir, 'User'), { recursive: true });
    writeFileSync(join(userDataDir, 'User', 'chatLanguageModels.json'), JSON.stringify(group));
  }

  #answer(request: ChatRequest): object {
    // Titles and summaries come without tools.
    if (!request.tools?.length) return { content: 'Scripted' };
    const last = request.messages.at(-1);
    if (last?.role === 'tool') this.toolResults.push(textOf(last.content));
    const step = nextStep(this.scripts, request);
    if (step.tool === undefined) return { content: step.text ?? '' };
    const name = request.tools.map((t) => t.function.name).find((n) => n === step.tool || n.endsWith(`_${step.tool}`));
    if (name === undefined) return { content: `${NOT_OFFERED} ${step.tool}.` };
    return {
      content: step.text ?? '',
      tool_calls: [{ index: 0, id: `call_${++this.#calls}`, type: 'function', function: { name, arguments: JSON.stringify(step.input ?? {}) } }],
    };
  }
}
