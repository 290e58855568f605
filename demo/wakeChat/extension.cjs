/**
 * VS Code keeps its own chat switched off until somebody signs in to Copilot or opens the list of language models. In the demo the
 * model is a script and needs no account: this opens the list and closes it again, so that a person can ask at once.
 */
const vscode = require('vscode');

/** The vendor under which the demo's model is entered. */
const VENDOR = 'customendpoint';
const LIST = 'Language Models';
/** How often and how long the model is looked for, in milliseconds. */
const EVERY_MS = 500;
const AT_MOST_MS = 60_000;

const isAwake = async () => (await vscode.lm.selectChatModels({ vendor: VENDOR })).length > 0;

exports.activate = async () => {
  // Windows without a model have no use for the chat.
  if (process.env.COUNTERSIGN_DEMO_MODEL === undefined || (await isAwake())) return;
  // It answers with the list itself, which cannot be handed to an extension.
  await vscode.commands.executeCommand('workbench.action.chat.manage').then(undefined, () => undefined);
  for (const until = Date.now() + AT_MOST_MS; !(await isAwake()) && Date.now() < until; ) await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
  await vscode.window.tabGroups.close(tabs.filter(({ input, label }) => input === undefined && label === LIST), true);
};
