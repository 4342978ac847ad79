/**
 * Commands of the stock `cf` as a script, a line each, with what must be said:
 *
 *     create-org first                        says OK
 *     orgs                  | ^first$         says that, as a regular expression (of lines)
 *     orgs                  |! ^second$       says that nowhere
 *     ! org nobody          | 'nobody' not    fails, and says that
 *     set-env shop A 'b c'                    a word with blanks
 */
import assert from 'node:assert/strict';
import type { Cf } from './cf.ts';

export class CfScript {
  readonly #cf: Cf;
  /** Names of commands that did their work. */
  readonly worked = new Set<string>();
  /** And of those that were seen to fail as they should. */
  readonly failed = new Set<string>();

  constructor(cf: Cf) {
    this.#cf = cf;
  }

  /** @param cf  whose; default: the script's own. @returns what the last line said */
  async run(text: string, cf = this.#cf): Promise<string> {
    let said = '';
    for (const line of text.split('\n')) {
      if (line.trim() !== '') said = await this.#line(line.trim(), cf);
    }
    return said;
  }

  async #line(line: string, cf: Cf): Promise<string> {
    const [, fails, command = '', not, pattern] = /^(! )?(.*?)(?:\s+\|(!?) (.*))?$/.exec(line) ?? [];
    const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
    const [name = ''] = words;
    const said = fails ? await cf.refused(...words) : await cf.must(...words);
    (fails ? this.failed : this.worked).add(name);
    const wanted = new RegExp(pattern ?? (fails ? '.' : 'OK'), 'im');
    const must = not ? 'must not' : 'was to';
    assert.ok(wanted.test(said) !== (not === '!'), `cf ${command} ${must} say ${String(wanted)}:\n${said}`);
    if (fails) assert.match(said, /FAILED|Incorrect Usage/i);
    return said;
  }
}
