// Runs before anything is painted, so that a chosen theme does not flash; the choice is kept in this browser.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function kept() {
    try {
      return localStorage.getItem("llmon.theme");
    } catch {
      return null; // storage may be switched off
    }
  }

  const choice = kept();
  if (choice === "light" || choice === "dark") root.dataset.theme = choice;

  window.llmonTheme = {
    now: () => root.dataset.theme ?? (system.matches ? "dark" : "light"),
    toggle() {
      const next = this.now() === "dark" ? "light" : "dark";
      root.dataset.theme = next;
      try {
        localStorage.setItem("llmon.theme", next);
      } catch {
        // then it holds until the page is left
      }
      dispatchEvent(new Event("themechange"));
    },
  };
  system.addEventListener("change", () => dispatchEvent(new Event("themechange")));
})();
