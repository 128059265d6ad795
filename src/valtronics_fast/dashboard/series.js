/** The last values of one metric with their times, in a ring that grows up to its bound. */

const FIRST = 16;

export class Series {
  /** @param {number} bound the most values that are kept */
  constructor(bound = 240) {
    this.bound = bound;
    this.length = 0;
    this.start = 0;
    this.times = new Float64Array(Math.min(FIRST, bound));
    this.values = new Float32Array(Math.min(FIRST, bound));
  }

  /** The time of the newest value, or -Infinity. */
  get end() {
    return this.length ? this.time(this.length - 1) : -Infinity;
  }

  /**
   * Add a value. One that is not newer than the last is one that was there already: it came again in a replay.
   * @param {number} time
   * @param {number} value
   */
  push(time, value) {
    if (!(time > this.end)) return;
    if (this.length === this.times.length && this.length < this.bound) this.grow();
    if (this.length < this.times.length) {
      this.length += 1;
    } else {
      this.start = (this.start + 1) % this.times.length;
    }
    const last = (this.start + this.length - 1) % this.times.length;
    this.times[last] = time;
    this.values[last] = value;
  }

  grow() {
    const size = Math.min(this.times.length * 2, this.bound);
    const [times, values] = [new Float64Array(size), new Float32Array(size)];
    for (let i = 0; i < this.length; i += 1) {
      times[i] = this.time(i);
      values[i] = this.value(i);
    }
    this.times = times;
    this.values = values;
    this.start = 0;
  }

  /** @param {number} i 0 is the oldest */
  time(i) {
    return /** @type {number} */ (this.times[(this.start + i) % this.times.length]);
  }

  /** @param {number} i */
  value(i) {
    return /** @type {number} */ (this.values[(this.start + i) % this.values.length]);
  }

  /**
   * Return the times (in seconds, as charts want them) and values from a time on.
   * @param {number} from
   * @returns {[number[], number[]]}
   */
  since(from) {
    /** @type {[number[], number[]]} */
    const [times, values] = [[], []];
    for (let i = 0; i < this.length; i += 1) {
      if (this.time(i) >= from) {
        times.push(this.time(i) / 1000);
        values.push(this.value(i));
      }
    }
    return [times, values];
  }

  /** Return least, mean and greatest of what is kept. */
  summary() {
    let [least, most, sum] = [Infinity, -Infinity, 0];
    for (let i = 0; i < this.length; i += 1) {
      const value = this.value(i);
      least = Math.min(least, value);
      most = Math.max(most, value);
      sum += value;
    }
    return { least, most, mean: sum / this.length };
  }
}
