// What the viewer is asked, and the stream on which it says that something new was stored.

/** Return the JSON at a path; raises an Error with the server's own words and its `status`, which is 0 while it is away. */
export async function get(path, params = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const [answer, body] = await fetched(query.size ? `${path}?${query}` : path, signal);
  if (answer.ok) return JSON.parse(body);
  let said = `${answer.status} ${answer.statusText}`;
  try {
    said = JSON.parse(body).error ?? said;
  } catch {
    // then the status line must do
  }
  throw Object.assign(new Error(said), { status: answer.status });
}

async function fetched(address, signal) {
  try {
    const answer = await fetch(address, { signal, headers: { Accept: "application/json" } });
    return [answer, await answer.text()];
  } catch {
    throw Object.assign(new Error("the viewer does not answer"), { status: 0 });
  }
}

/** The stream of changes: `change` when something was stored, `state` when the connection or the pause changes. */
class Live extends EventTarget {
  state = "connecting";
  paused = false;
  missed = 0;
  #source = null;
  #last = null;
  #retry = 0;
  #met = false;

  /** Keep a connection while the page can be seen: a browser gives a host six, and hidden tabs need none. */
  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    if (!document.hidden) this.#open();
  }

  pause(paused) {
    this.paused = paused;
    this.missed = 0;
    this.#tell("state");
    if (!paused) this.#tell("change");
  }

  #open() {
    this.#close();
    const source = new EventSource("/api/live");
    this.#source = source;
    source.addEventListener("open", () => {
      const back = this.#met;
      this.#met = true;
      this.#become("open");
      if (back && !this.paused) this.#tell("change"); // what came while nobody listened
    });
    source.addEventListener("change", (event) => this.#changed(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      this.#become("lost");
      source.close(); // one of our own pace: browsers wait longer each time, or give up after an HTTP error
      this.#retry = setTimeout(() => this.#open(), 1000);
    });
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #changed(totals) {
    const stored = totals.spans + totals.logs + totals.points;
    if (this.paused) this.missed += Math.max(0, stored - (this.#last ?? stored));
    this.#last = stored;
    this.#tell(this.paused ? "state" : "change");
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#tell("state");
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

export const live = new Live();
