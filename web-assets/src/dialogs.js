// A form's data-confirm asks in the page's own confirm dialog.
// In a question {count} is what is ticked, in data-confirm-things ("run|runs"), and {action} the button's data-verb.

export function installDialogs() {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
    if (event.target.nodeName === "DIALOG") event.target.close(); // the backdrop
  });
  document.addEventListener("submit", ask);
}

function ask(event) {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed) return;
  const submitter = event.submitter;
  const verb = submitter?.dataset.verb ?? form.dataset.confirmVerb ?? "Go on";
  const count = form.querySelectorAll("[data-check]:checked").length;
  if (form.dataset.confirmThings && count === 0) return; // the server says that nothing is ticked
  const dialog = document.getElementById("confirm");
  if (!dialog) return;
  event.preventDefault();
  dialog.querySelector("[data-question]").textContent = form.dataset.confirm
    .replace("{action}", verb)
    .replace("{count}", `${count} ${form.dataset.confirmThings?.split("|")[count === 1 ? 0 : 1]}`);
  const yes = dialog.querySelector("[data-yes]");
  yes.textContent = verb;
  yes.onclick = () => {
    dialog.close();
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
    delete form.dataset.confirmed;
  };
  dialog.showModal();
}
