// Runs modules on V8, for `proposals.rs`: a list of them on standard input, a line for each run on standard output.
//
// A job is a module in three forms (as it was, prepared, and the counted copy of support/oracle.rs) with what has to be
// imported, and runs: lists of calls on an instance of their own. The first form to run is the prepared one, with a yield
// that ends it after a while: an original that does not end cannot be stopped, so those are not started.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import v8 from 'node:v8';

// Finished proposals that an engine has, but not on by default. What it does not know it complains about, and ignores.
const PROPOSALS = ['exnref', 'legacy-eh', 'memory64', 'typed-funcref', 'wide-arithmetic', 'custom-page-sizes'];
PROPOSALS.forEach((proposal) => v8.setFlagsFromString(`--experimental-wasm-${proposal}`));

const METERING = 'lunatic::metering';
const EVENT = { work: -0x80000000, returned: -0x7fffffff };
const LARGE_SLICE = 1000;
const MAX_LARGE_SLICES = 15;
const SMALL_SLICE = 7;
const MAX_WATCHED_WORK = 4_000;

const bytes = (hex) => Buffer.from(hex, 'hex');
const text = (hex) => bytes(hex).toString();

// An exception of JavaScript's could be caught by the guest. A trap cannot, wherever it comes from.
const unreachable = new WebAssembly.Instance(
  new WebAssembly.Module(bytes('0061736d010000000104016000000302010007050101740000' + '0a05010300000b')),
).exports.t;

class Run {
  gaveUp = false;
  overflowed = false;
  yields = 0;
  charged = 0;

  giveUp() {
    this.gaveUp = true;
    unreachable();
  }

  // Instantiates a module, makes the calls, and says how each of them ended, and what was left in the memories.
  endings(module, job, calls) {
    const endings = [];
    let instance;
    const step = (what) => {
      if (!this.gaveUp && !this.overflowed) endings.push(this.ending(what));
    };
    step(() => {
      instance = new WebAssembly.Instance(module, this.imports(job));
      this.exports = instance.exports;
    });
    if (instance) {
      for (const call of calls) {
        step(() => instance.exports[text(call.export)](...call.arguments.map(value)));
      }
      step(() => Object.values(instance.exports).map(state));
    }
    return endings.join(' | ');
  }

  ending(what) {
    try {
      return shown(what());
    } catch (error) {
      if (error instanceof RangeError && /call stack/.test(error.message)) {
        this.overflowed = true;
        return 'overflow';
      }
      if (error instanceof WebAssembly.Exception) {
        const tag = this.exports?.e;
        const known = tag instanceof WebAssembly.Tag && error.is(tag);
        return known ? `exception ${shown(error.getArg(tag, 0))}` : 'exception';
      }
      return `${error.name}: ${error.message}`;
    }
  }

  imports(job) {
    const imports = { [METERING]: { charge: (cost) => this.charge(cost) } };
    for (const item of job.imports) {
      (imports[text(item.module)] ??= {})[text(item.name)] = imported(item);
    }
    return imports;
  }
}

// A run of a prepared module, in slices.
class Sliced extends Run {
  constructor(slice, maxYields) {
    super();
    Object.assign(this, { slice, maxYields });
  }

  charge(cost) {
    this.charged += cost;
    if (this.charged <= this.slice * (this.yields + 1)) return;
    this.yields += 1;
    if (this.yields > this.maxYields) this.giveUp();
  }
}

// A run of a counted copy. As `Watch` in support/oracle.rs.
class Watched extends Run {
  stretch = { work: 0, returns: 0 };
  work = 0;
  unpaid = false;
  overrun = -Infinity;

  constructor(job) {
    super();
    this.job = job;
  }

  charge(value) {
    if (value === EVENT.returned) this.stretch.returns += 1;
    else if (value === EVENT.work) this.workIsNext();
    else {
      this.charged += value;
      this.stretch = { work: 0, returns: 0 };
    }
    if (this.work > MAX_WATCHED_WORK) this.giveUp();
  }

  workIsNext() {
    this.stretch.work += 1;
    this.work += 1;
    this.unpaid ||= this.work > this.charged;
    const allowed = this.job.atOnce + this.job.afterAReturn * this.stretch.returns;
    this.overrun = Math.max(this.overrun, this.stretch.work - allowed);
  }

  get objections() {
    const { unpaid, overrun } = this;
    return Object.entries({ unpaid, overrun: overrun > 0 }).flatMap(([name, is]) => (is ? [name] : []));
  }
}

function value(argument) {
  const [type, number] = argument.split(':');
  return type === 'ref' ? null : type === 'i64' ? BigInt(number) : Number(number);
}

function shown(result) {
  if (Array.isArray(result)) return `[${result.map(shown)}]`;
  if (Object.is(result, -0)) return '-0';
  return result !== null && ['object', 'function'].includes(typeof result) ? 'a reference' : String(result);
}

function state(item) {
  if (item instanceof WebAssembly.Memory) {
    return createHash('sha1').update(new Uint8Array(item.buffer).slice()).digest('hex');
  }
  // Some globals cannot be read from outside: those of vectors.
  if (item instanceof WebAssembly.Global) try { return item.value; } catch { return 'opaque'; }
  return typeof item;
}

function imported({ kind, results, type, mutable, minimum, maximum, shared, is64, parameters }) {
  const zero = { i64: 0n, ref: null };
  const of = (type) => (type in zero ? zero[type] : 0);
  switch (kind) {
    case 'function':
      return () => (results.length > 1 ? results.map(of) : results.length ? of(results[0]) : undefined);
    case 'global':
      return new WebAssembly.Global({ value: type, mutable }, of(type));
    case 'memory': {
      const limit = (pages) => (is64 ? BigInt(pages) : pages);
      const limits = { initial: limit(minimum), shared, address: is64 ? 'i64' : 'i32' };
      return new WebAssembly.Memory(maximum === null ? limits : { ...limits, maximum: limit(maximum) });
    }
    case 'tag':
      return new WebAssembly.Tag({ parameters });
  }
}

function runJob(job, index) {
  const say = (...fields) => console.log([index, ...fields].join('\t'));
  if (!WebAssembly.validate(bytes(job.original))) return say('unknown');
  const [original, prepared] = [job.original, job.prepared].map((hex) => new WebAssembly.Module(bytes(hex)));
  const counted = job.counted && new WebAssembly.Module(bytes(job.counted));
  for (const calls of job.runs) {
    const watched = new Watched(job);
    if (counted) watched.endings(counted, job, calls);
    const first = new Sliced(LARGE_SLICE, MAX_LARGE_SLICES);
    const metered = first.endings(prepared, job, calls);
    const judgement = [watched.work, watched.objections];
    if (first.gaveUp) {
      say('endless', ...judgement);
      continue;
    }
    const [plain, small] = [new Run(), new Sliced(SMALL_SLICE, Infinity)];
    const expected = plain.endings(original, job, calls);
    const sliced = small.endings(prepared, job, calls);
    if ([plain, first, small].some((run) => run.overflowed)) say('overflow', ...judgement);
    else say('ended', ...judgement, expected, metered, sliced, first.charged, small.charged, small.yields);
  }
}

JSON.parse(readFileSync(0, 'utf8')).forEach(runJob);
