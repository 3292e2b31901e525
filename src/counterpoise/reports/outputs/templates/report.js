"use strict";
(function () {
  function key(row, column) {
    var cell = row.cells[column];
    var given = cell.getAttribute("data-value");
    return given === null ? cell.textContent.trim().toLowerCase() : given === "" ? null : Number(given);
  }

  function sort(table, column, header) {
    var descending = header.getAttribute("aria-sort") === "descending" ||
      (!header.hasAttribute("aria-sort") && !header.hasAttribute("data-down"));
    var direction = descending ? 1 : -1;
    table.querySelectorAll("thead th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", descending ? "ascending" : "descending");
    var body = table.tBodies[0];
    Array.from(body.rows)
      .map(function (row, place) { return { row: row, key: key(row, column), place: place }; })
      .sort(function (a, b) {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
        return (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * direction || a.place - b.place;
      })
      .forEach(function (entry) { body.appendChild(entry.row); });
  }

  document.querySelectorAll("table[data-sortable]").forEach(function (table) {
    table.querySelectorAll("thead th:not([data-fixed])").forEach(function (header) {
      var button = document.createElement("button");
      button.type = "button";
      while (header.firstChild) button.appendChild(header.firstChild);
      header.appendChild(button);
      button.addEventListener("click", function () { sort(table, header.cellIndex, header); });
    });
  });

  document.querySelectorAll("[data-filter]").forEach(function (place) {
    var table = document.getElementById(place.getAttribute("data-filter"));
    var input = document.createElement("input");
    var told = document.createElement("span");
    input.type = "search";
    input.placeholder = "Filter";
    input.setAttribute("aria-label", "Filter the rows of the table below");
    told.className = "small";
    told.setAttribute("role", "status");
    place.append(input, told);
    place.hidden = false;
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      var rows = Array.from(table.tBodies[0].rows);
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.includes(word); });
      });
      var shown = rows.filter(function (row) { return !row.hidden; }).length;
      told.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
    });
  });

  function selectAndCopy(block) {
    var range = document.createRange();
    range.selectNodeContents(block);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }

  document.querySelectorAll(".copy").forEach(function (box) {
    var block = box.querySelector("pre, p");
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    box.appendChild(button);
    function tell(done) {
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(function () { button.textContent = "Copy"; }, 1600);
    }
    button.addEventListener("click", function () {
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(block.textContent).then(
          function () { tell(true); },
          function () { tell(selectAndCopy(block)); }
        );
      } else {
        tell(selectAndCopy(block));
      }
    });
  });
})();
