/** The file in the state folder that the running proxy wrote, mode 0600. It holds no secret. Apart from its decoder, which a bridge does without. */
export const PROXY_FILE = 'proxy.json';
/** Largest proxy file that is read, in bytes. */
export const MAX_PROXY_FILE_BYTES = 4096;
