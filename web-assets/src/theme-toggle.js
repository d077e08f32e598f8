const ORDER = ["system", "light", "dark"];

export function showTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  const label = button.querySelector("[data-theme-word]");
  const current = () => document.documentElement.dataset.theme ?? "system";
  const show = () => {
    label.textContent = current();
    button.setAttribute("aria-label", `Theme: ${current()}. Change`);
  };
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
    show();
  });
  button.hidden = false;
  show();
}

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("automata-theme");
    else localStorage.setItem("automata-theme", theme);
  } catch {
    // It holds for this page then.
  }
}
