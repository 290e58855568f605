import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tellingLine } from '../../../proxy/daemon/tellingLine.ts';

const wrote = (text: string, process = 7) => text.split('\n').map((line) => ({ at: 0, process, by: 'server', text: line }) as const);

describe('the line that says why a process ended', () => {
  it('is the sentence above a stack, not the last line of it', () => {
    const node = `node:internal/modules/cjs/loader:1225
  throw err;
  ^

Error: Cannot find module 'left-pad'
Require stack:
- /srv/tool.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15)
  code: 'MODULE_NOT_FOUND',
}

Node.js v24.11.0`;
    assert.equal(tellingLine(wrote(node)), "Error: Cannot find module 'left-pad'");
    const python = `Traceback (most recent call last):
  File "server.py", line 1, in <module>
    import left_pad
ModuleNotFoundError: No module named 'left_pad'`;
    assert.equal(tellingLine(wrote(python)), "ModuleNotFoundError: No module named 'left_pad'");
  });

  it('is the last line where none sounds like a reason, and of the process that ran last', () => {
    assert.equal(tellingLine(wrote('starting\nno licence for this machine')), 'no licence for this machine');
    assert.equal(tellingLine([...wrote('Error: of the one before', 6), ...wrote('no licence', 7)]), 'no licence');
    assert.equal(tellingLine(wrote('    only a stack')), 'only a stack');
  });

  it('is not made up', () => {
    assert.equal(tellingLine([]), undefined);
    assert.equal(tellingLine([{ at: 0, process: 7, by: 'countersign', text: 'ended (exit code 1)' }]), undefined);
  });
});
