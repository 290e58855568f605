import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DoctorCheck } from '../../../contract/control.ts';
import { doctorReport } from '../../../extension/doctor/report.ts';
import { english as t } from '../../../extension/translate.ts';

const check = (state: DoctorCheck['state'], title: string, detail = 'Detail.'): DoctorCheck => ({ id: title, title, state, detail });

describe('the doctor’s page', () => {
  it('puts what failed first and says what to do below it', () => {
    const page = doctorReport([check('ok', 'Alpha'), check('failed', 'Beta', 'Do this.'), check('warning', 'Gamma')], '0.1.0', t);
    assert.match(page, /1 of 3 checks failed/);
    assert.ok(page.indexOf('Beta') < page.indexOf('Gamma') && page.indexOf('Gamma') < page.indexOf('Alpha'));
    assert.match(page, /### ✗ Beta — failed\n\nDo this\./);
  });

  it('says plainly when all is well', () => {
    assert.match(doctorReport([check('ok', 'Alpha')], '0.1.0', t), /Everything is in order/);
  });

  it('shows what it was told as text: no link, image, HTML or command gets into the page', () => {
    const page = doctorReport(
      [check('failed', '<img src=x>', '[click](command:countersign.proxy.stop) <script>x</script> ![i](http://e.example/x)\n# head')],
      '0.1.0',
      t,
    );
    assert.doesNotMatch(page, /[^\\]\]\(|[^\\]<|[^\\]!\[|\n# head|[^\\]\[click/);
  });
});
