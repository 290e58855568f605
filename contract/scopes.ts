/** The choices of an approval's scope, apart from the decoders: a panel needs these and none of those. */

/** What an approval covers beyond the operation on screen. `exact` is always offered and preselected. */
export const SCOPE_WHATS = ['exact', 'shape', 'target'] as const;
/** For how long: this one operation, until the session ends, or a number of minutes. */
export const SCOPE_HOW_LONGS = ['once', 'session', '15m', '1h'] as const;
export const NARROWEST: { what: (typeof SCOPE_WHATS)[number]; howLong: (typeof SCOPE_HOW_LONGS)[number] } = { what: 'exact', howLong: 'once' };
