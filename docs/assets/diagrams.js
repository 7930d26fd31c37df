// Pages with a diagram or a formula fetch what draws it: one file of one version, which the browser checks against its hash.
// Without a network the text of the diagram or the formula stays.
(() => {
  const fetchScript = (url, integrity) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      Object.assign(script, { src: url, integrity, crossOrigin: "anonymous", onload: resolve, onerror: reject });
      document.head.append(script);
    });

  const diagrams = [...document.querySelectorAll("pre.mermaid")];
  if (diagrams.length) {
    fetchScript(
      "https://cdn.jsdelivr.net/npm/mermaid@11.17.2/dist/mermaid.min.js",
      "sha384-EOXBFmc3gx5mb+vn0vPvvGqACToJD24hhacX5Yx+8NUUQrHIle/Qi5Bg9o3zKwW2",
    ).then(() => {
      window.mermaid.initialize({ startOnLoad: false });
      // Without the element for code that stands around the text.
      for (const diagram of diagrams) diagram.textContent = diagram.textContent;
      return window.mermaid.run({ nodes: diagrams });
    }, () => undefined);
  }

  if (document.querySelector("[role=main]")?.textContent.includes("$$")) {
    window.MathJax = { tex: { displayMath: [["$$", "$$"]], inlineMath: [] } };
    fetchScript(
      "https://cdn.jsdelivr.net/npm/mathjax@3.2.2/es5/tex-svg.js",
      "sha384-KKWa9jJ1MZvssLeOoXG6FiOAZfAgmzsIIfw8BXwI9+kYm0lPCbC6yTQPBC00F1/L",
    ).catch(() => undefined);
  }
})();
