/** Imported before any schema is made: the page's policy lets nothing be compiled from text, and trying it is an error in the console. */
import { z } from 'zod';

z.config({ jitless: true });
