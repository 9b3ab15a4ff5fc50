/// The frame of a report: one file, no script, no request to any network, light or dark as the reader's system is.
package enum Page {
  /// Colours that series go through.
  static let colors = 8

  package static func html(title: String, body: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>\(title.escaped)</title>
    <style>
    \(style)</style></head><body><main>
    <h1>\(title.escaped)</h1>
    \(body)</main></body></html>

    """
  }

  /// Names of series beside their colours.
  package static func legend(_ names: [String]) -> String {
    let entries = names.enumerated().map { "<li class=\"c\($0 % colors)\"><span>\($1.escaped)</span></li>" }
    return "<ul class=\"legend\">\(entries.joined())</ul>\n"
  }

  private static var style: String {
    func variables(_ colors: [String]) -> String {
      colors.enumerated().map { "--c\($0): \($1);" }.joined(separator: " ")
    }
    let series = (0..<colors).map {
      "polyline.c\($0), line.c\($0) { stroke: var(--c\($0)); } .c\($0) { fill: var(--c\($0)); color: var(--c\($0)); }\n"
    }
    return """
      :root { --ground: #ffffff; --text: #1f2328; --faint: #59636e; --rule: #d1d9e0; --panel: #f6f8fa;
        \(variables(["#0969da", "#cf5a00", "#1a7f37", "#a3259b", "#b08800", "#007f8a", "#cf222e", "#57606a"])) }
      @media (prefers-color-scheme: dark) {
        :root { --ground: #0d1117; --text: #e6edf3; --faint: #9198a1; --rule: #3d444d; --panel: #151b23;
          \(variables(["#58a6ff", "#f0883e", "#3fb950", "#db8bd4", "#d9b23c", "#4cc3cf", "#ff7b72", "#a8b1bb"])) }
      }
      * { box-sizing: border-box; }
      body { margin: 0; background: var(--ground); color: var(--text);
        font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
      main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 60px; }
      h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
      p.note { color: var(--faint); margin: 4px 0 12px; }
      .wide { overflow-x: auto; }
      table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
      th, td { padding: 5px 14px 5px 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
      th:first-child, td:first-child { text-align: left; }
      th { color: var(--faint); font-weight: 600; } tr.best td { font-weight: 600; }
      .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 18px; }
      .panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(520px, 100%), 1fr)); gap: 18px; }
      figure { margin: 0; min-width: 0; background: var(--panel); border-radius: 8px; padding: 12px; }
      figure.points, figure.dots { overflow-x: auto; } figure.points { margin-top: 18px; }
      figure.points svg { min-width: 680px; } figure.dots svg { min-width: 480px; max-width: 680px; }
      figure.picture { max-width: 560px; margin-top: 18px; }
      figcaption { font-weight: 600; margin-bottom: 6px; }
      svg { display: block; width: 100%; height: auto; }
      svg text { fill: var(--faint); font-size: 11px; }
      svg text.name { fill: var(--text); paint-order: stroke; stroke: var(--panel); stroke-width: 3px; stroke-linejoin: round; }
      figure.points polyline { stroke-width: 1.3; }
      .grid { stroke: var(--rule); stroke-width: 1; }
      .mark { stroke: var(--panel); stroke-width: 0.8; } .seed { fill-opacity: 0.35; } .band { fill-opacity: 0.12; }
      line.whisker { stroke-width: 1.5; } line.leader { stroke-width: 0.8; stroke-opacity: 0.6; }
      line.level { stroke-width: 1.4; stroke-dasharray: 6 4; }
      polyline { fill: none !important; stroke-width: 1.8; stroke-linejoin: round; } polyline.faint { opacity: 0.3; stroke-width: 1; }
      .legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 8px 0 14px; }
      .legend li::before { content: ""; display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin-right: 7px;
        vertical-align: middle; background: currentColor; } .legend span { color: var(--text); }
      svg.bars { width: 150px; display: inline-block; vertical-align: middle; }
      svg.spark { width: 72px; display: inline-block; vertical-align: middle; } svg.spark polyline { stroke-width: 1.3; }
      .warning { background: var(--panel); border-left: 4px solid var(--c6); padding: 8px 12px; border-radius: 4px; overflow-wrap: anywhere; }
      .warning ul { margin: 4px 0 0; padding-left: 20px; }
      pre { background: var(--panel); padding: 12px; border-radius: 8px; overflow-x: auto; font-size: 13px; }
      details summary { cursor: pointer; font-weight: 600; margin: 8px 0; }
      \(series.joined())
      """
  }
}
