/** How a web app is started that does not say it: Rails by itself, Rack by the server among the gems. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export function startCommand(gems: ReadonlySet<string>, directory = '.'): string | undefined {
  if (isRails(gems, directory)) return 'bundle exec rails server -b 0.0.0.0 -p $PORT';
  if (!existsSync(join(directory, 'config.ru'))) return undefined;
  if (gems.has('puma')) {
    // With a file of its own Puma binds to what that says.
    const settings = join(directory, 'config', 'puma.rb');
    const own = existsSync(settings) && /^\s*(port|bind)\b/m.test(readFileSync(settings, 'utf8'));
    return own ? 'bundle exec puma' : 'bundle exec puma -b tcp://0.0.0.0:$PORT';
  }
  return 'bundle exec rackup -o 0.0.0.0 -p $PORT';
}

export function isRails(gems: ReadonlySet<string>, directory = '.'): boolean {
  return gems.has('railties') && existsSync(join(directory, 'config', 'application.rb'));
}
