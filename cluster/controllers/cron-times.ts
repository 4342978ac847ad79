/**
 * When a CronJob's schedule says to run, in its time zone. As upstream's: an hour that a clock change skips does not
 * come, one that it repeats comes twice; where day of month and day of week are both restricted, either suffices.
 */
export interface CronTimes {
  /** The first time after `milliseconds`; undefined where there is none within five years. */
  next(milliseconds: number): number | undefined;
}

const minute = 60_000;
const hour = 60 * minute;
const searched = 5 * 366 * 24 * hour;
const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: minute, h: hour };
const shorthands: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

interface Field {
  values: Set<number>;
  /** Begins with a star: restricts nothing by itself. */
  any: boolean;
}

function parseField(text: string, low: number, high: number, names: string[] = []): Field {
  const values = new Set<number>();
  let any = false;
  const numberOf = (word: string): number => {
    const named = names.indexOf(word.toLowerCase());
    return named < 0 ? Number(word) : named + low;
  };
  for (const part of text.split(',')) {
    const [range = '', step] = part.split('/');
    const [from = '', to] = range.split('-');
    const star = from === '*' || from === '?';
    if (star && (step === undefined || step === '1')) any = true;
    const first = star ? low : numberOf(from);
    // A step without an end goes to the last.
    const last = star || (to === undefined && step !== undefined) ? high : numberOf(to ?? from);
    for (let value = first; value <= last; value += Number(step ?? 1)) values.add(value);
  }
  return { values, any };
}

interface WallClock {
  month: number;
  day: number;
  weekday: number;
  hour: number;
  minute: number;
}

function wallClock(timeZone: string | undefined): (milliseconds: number) => WallClock {
  const format = new Intl.DateTimeFormat('en-US', {
    ...(timeZone !== undefined && { timeZone }),
    hourCycle: 'h23',
    weekday: 'short',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  return (milliseconds) => {
    const parts = Object.fromEntries(format.formatToParts(milliseconds).map(({ type, value }) => [type, value]));
    return {
      month: Number(parts['month']),
      day: Number(parts['day']),
      weekday: days.indexOf((parts['weekday'] ?? '').toLowerCase()),
      hour: Number(parts['hour']),
      minute: Number(parts['minute']),
    };
  };
}

function everyTimes(text: string): CronTimes {
  let length = 0;
  for (const [, amount, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    length += Number(amount) * (units[unit] ?? 0);
  }
  const step = Math.max(1000, Math.floor(length / 1000) * 1000);
  return { next: (milliseconds) => Math.floor(milliseconds / 1000) * 1000 + step };
}

/** The schedule must be one that validation let through. */
export function cronTimes(schedule: string, timeZone?: string): CronTimes {
  const text = schedule.trim();
  if (text.startsWith('@every ')) return everyTimes(text);
  const fields = (shorthands[text] ?? text).split(/\s+/);
  const at = (index: number): string => fields[index] ?? '*';
  const minutes = parseField(at(0), 0, 59);
  const hours = parseField(at(1), 0, 23);
  const monthDays = parseField(at(2), 1, 31);
  const inMonths = parseField(at(3), 1, 12, months);
  const weekDays = parseField(at(4), 0, 6, days);
  const wallOf = wallClock(timeZone);

  const isDay = (wall: WallClock): boolean => {
    if (!inMonths.values.has(wall.month)) return false;
    const byMonth = monthDays.values.has(wall.day);
    const byWeek = weekDays.values.has(wall.weekday);
    return monthDays.any || weekDays.any ? byMonth && byWeek : byMonth || byWeek;
  };

  return {
    next(milliseconds) {
      let time = Math.floor(milliseconds / minute) * minute + minute;
      const end = milliseconds + searched;
      while (time < end) {
        const wall = wallOf(time);
        // To the end of the day but for two hours, which a clock change may take or give; then hour by hour.
        if (!isDay(wall)) time += Math.max(1, 22 - wall.hour) * hour - wall.minute * minute;
        else if (!hours.values.has(wall.hour)) time += hour - wall.minute * minute;
        else if (!minutes.values.has(wall.minute)) time += minute;
        else return time;
      }
      return undefined;
    },
  };
}

/** So many missed times are told as a mistake: a clock that jumped, or a deadline that is too long. */
const missedLimit = 100;

export interface Missed {
  /** The newest of the missed times. */
  latest: number;
  tooMany: boolean;
}

/** What the schedule says between two times, the second included; undefined where it says nothing. */
export function missedTimes({ next }: CronTimes, after: number, until: number): Missed | undefined {
  let latest: number | undefined;
  let time = next(after);
  for (let count = 0; time !== undefined && time <= until; count++) {
    if (count === missedLimit) return { latest: latestTime({ next }, time, until), tooMany: true };
    latest = time;
    time = next(time);
  }
  return latest === undefined ? undefined : { latest, tooMany: false };
}

/** Looks back from the end in steps that double: years of missed minutes are not counted through. */
function latestTime({ next }: CronTimes, known: number, until: number): number {
  for (let length = minute; ; length *= 2) {
    const from = Math.max(known, until - length);
    let time = next(from);
    let latest = from === known ? known : undefined;
    while (time !== undefined && time <= until) {
      latest = time;
      time = next(time);
    }
    if (latest !== undefined) return latest;
  }
}
