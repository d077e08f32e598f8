// Loaded before the page is drawn, so that a chosen theme never flashes.
try {
  const chosen = localStorage.getItem("automata-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's theme is right.
}
