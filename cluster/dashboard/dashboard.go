// Package dashboard is the web page that shows a cluster: one document, style sheets
// and scripts, without a build step. It knows nothing of nodes; in the browser it asks
// the admin API (package admin) of the same origin for everything that it shows and
// does, so a page can do nothing that curl cannot.
//
// The files are in files/: index.html and app.css, the scripts as ES modules (main.js
// begins), and in vendor/ what other projects wrote, with its licences and checksums.
package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed files
var files embed.FS

// How does the page stay cheap? It asks only for the lists of the view that is open, one
// question of each at a time, each at most once a second and less often when answers take
// long; a tab that nobody sees asks nothing. Long lists have only the rows in the document
// that can be seen. What is drawn over time (heat, lines) is what this tab has seen: the
// nodes keep nothing for it.
//
// Why so strict a policy: the page shows names that programs and peers have chosen. They
// are written as text, never as markup; should one become markup by a mistake, it still
// runs nothing, loads nothing and sends nothing elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// Why two places: / is what a person types, and everything else of it is below one folder,
// so that the API and what may come beside it have their own names.
//
// Prefix is where the files lie; the document itself is at /.
const Prefix = "/ui/"

// types are the kinds of files that there are; others are not served. Given here and not
// taken from the machine's table of types, which may have another one for a script, and
// then a browser refuses it.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// Handler serves the document at / and its files below Prefix, to GET and HEAD. They
// are the same for everybody and contain no secret. It does not wait; any goroutine.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "index.html"
		if r.URL.Path != "/" {
			name = strings.TrimPrefix(r.URL.Path, Prefix)
		}
		kind := types[path.Ext(name)]
		text, err := fs.ReadFile(files, "files/"+name)
		if err != nil || kind == "" {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // the next version of the program has other files under these names
		_, _ = w.Write(text)               // a client that is gone needs none
	})
}
