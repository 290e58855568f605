/** What stands for a text that would take too long to look through: nothing of it is let through. */

/** Names the finding. */
export const UNREAD = 'unread';
/** For the agent, in its place; it begins as any mask that says nothing of its value. */
export const UNREAD_TEXT =
  '‹redacted› All of this text was left out: more in it could be personal data or a secret than can be looked through at once. Ask for less of it.';
