/** Tasks as the two eras write them: an object inside the answer (2025-11-25), or the answer itself by an extension (2026-07-28). */
import { isObject, type JsonObject, type Reply } from './message.ts';

/** The extension's name among the capabilities of both sides. */
export const TASKS = 'io.modelcontextprotocol/tasks';
/** What the extension lets a client ask about a task. */
export const TASK_METHODS: ReadonlySet<string> = new Set(['tasks/get', 'tasks/update', 'tasks/cancel']);
export const MISSING_CAPABILITY = -32_021;
/** Longest id of a task, in characters; what has a longer one cannot be asked about. */
const MAX_ID = 512;
const OVER: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

export function taskIdIn(value: JsonObject | undefined): string | undefined {
  const id = value?.taskId;
  return typeof id === 'string' && id.length <= MAX_ID ? id : undefined;
}

/** The task that a call's answer is about, where it began one. */
export function begunIn(reply: Reply): JsonObject | undefined {
  if ('error' in reply) return undefined;
  const { result } = reply;
  return result.resultType === 'task' ? result : isObject(result.task) ? result.task : undefined;
}

/** The same answer with another name for the task in it. */
export function withTaskId(reply: Reply, id: string): Reply {
  if ('error' in reply) return reply;
  const { result } = reply;
  if (isObject(result.task)) return { result: { ...result, task: { ...result.task, taskId: id } } };
  return result.taskId === undefined ? reply : { result: { ...result, taskId: id } };
}

export function isOver(task: JsonObject): boolean {
  return typeof task.status === 'string' && OVER.has(task.status);
}

/** Whether one side's capabilities have the extension. */
export function speaksOfTasks(capabilities: unknown): boolean {
  return isObject(capabilities) && isObject(capabilities.extensions) && isObject(capabilities.extensions[TASKS]);
}

/** Capabilities for a side of the other era: tasks of the one are none of the other, so neither is told that they could be used. */
export function withoutTasks(capabilities: JsonObject): JsonObject {
  const { tasks: _tasks, extensions, ...rest } = capabilities;
  if (!isObject(extensions)) return extensions === undefined ? rest : { ...rest, extensions };
  const { [TASKS]: _, ...others } = extensions;
  return Object.keys(others).length > 0 ? { ...rest, extensions: others } : rest;
}
