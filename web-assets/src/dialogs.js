// <button data-opens="ID"> opens <dialog id="ID">; a form's data-confirm asks in the page's own confirm dialog.

export function installDialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens)?.showModal();
    if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
    if (event.target.nodeName === "DIALOG") event.target.close(); // the backdrop
  });
  document.addEventListener("submit", ask);
}

function ask(event) {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed) return;
  const dialog = document.getElementById("confirm");
  if (!dialog) return;
  event.preventDefault();
  const submitter = event.submitter;
  dialog.querySelector("[data-question]").textContent = form.dataset.confirm;
  const yes = dialog.querySelector("[data-yes]");
  yes.textContent = form.dataset.confirmVerb ?? "Go on";
  yes.onclick = () => {
    dialog.close();
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
    delete form.dataset.confirmed;
  };
  dialog.showModal();
}
