/** Every migration, oldest first. Never change one that has been released: add another. */
import type { Migration } from '../migrate.ts';
import { base } from './0001base.ts';
import { refreshedAt } from './0002refreshedAt.ts';
import { credentials } from './0003credentials.ts';
import { edges } from './0004edges.ts';
import { segments } from './0005segments.ts';
import { pins } from './0006pins.ts';
import { tasks } from './0007tasks.ts';
import { signedChains } from './0008signedChains.ts';
import { publishers } from './0009publishers.ts';
import { signedOnly } from './0010signedOnly.ts';

export const MIGRATIONS: readonly Migration[] = [base, refreshedAt, credentials, edges, segments, pins, tasks, signedChains, publishers, signedOnly];
