/** A rule of `countersign.yaml` that speaks of operations like one: for a person to paste, narrow or widen. Nothing is saved from here. */
import type { OperationDetail } from '../../contract/control.ts';

/** As long as the policy takes ids, and as many words and as long as it takes in a list. */
const MAX_ID = 100;
const MAX_TARGETS = 50;
const MAX_WORD = 300;

/** It decides what was decided, but for an `allow` that would speak of everything: what loosens is the person's own edit. */
export function ruleText({ facts, summary, verdict }: OperationDetail): string {
  const { connection } = summary;
  const targets = facts.targets.map(({ name }) => name).filter((name) => name !== '' && name.length <= MAX_WORD);
  // What is read, prompted or asked over MCP has no tool: it is told by its target, like everything else.
  const tool = facts.mcp?.tool ?? '';
  const what = tool === '' ? [`effect: ${facts.effect}`, ...targetsOf(targets), ...(facts.bulk ? ['bulk: true'] : [])] : [`mcp: { tool: ${word(tool)} }`];
  const match = [`connection: ${word(connection)}`, ...what];
  const narrow = tool !== '' || targets.length > 0;
  const decision = verdict.decision === 'allow' && !narrow ? 'ask' : verdict.decision;
  return [`  - id: ${idOf(connection, facts.headline)}`, `    match: { ${match.join(', ')} }`, `    verdict: ${decision} # allow, ask or deny`, ''].join('\n');
}

function targetsOf(targets: readonly string[]): string[] {
  if (targets.length === 0) return [];
  const words = targets.slice(0, MAX_TARGETS).map((name) => word(name));
  return [`target: ${words.length === 1 ? words[0] : `[${words.join(', ')}]`}`];
}

/** A name as it is: nothing in it is YAML's (JSON's strings are YAML's, too), and a `*` of its own stands for one character, not for any number. */
export function word(given: string): string {
  const name = given.replaceAll('*', '?');
  return /^[A-Za-z][A-Za-z0-9_.-]*$/.test(name) && !/^(?:y|n|yes|no|on|off|true|false|null)$/i.test(name) ? name : JSON.stringify(name);
}

function idOf(connection: string, headline: string): string {
  const id = `${connection}-${headline}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, MAX_ID)
    .replace(/-+$/, '');
  return id === '' ? 'my-rule' : id;
}
