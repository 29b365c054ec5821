package nodecmd

import (
	"regexp"
	"strings"
)

// What is secret in a text that leaves the machine. Nothing of this module prints a secret,
// but a report holds what programs have logged and named, so every text of it is searched
// for what secrets look like: private keys and seeds, signed statements, tokens, passwords
// in URLs, and values that stand behind a word that says so. A secret that looks like
// nothing cannot be found; the command says that.

// removed stands in the place of a secret.
const removed = "REMOVED"

// Better too much than too little: a word that is taken out by mistake is asked for again, a
// password that was sent cannot be taken back. Two things must survive all the same, or the
// report is of no use: a JSON document stays one, and numbers stay, since what is secret is not
// a number and many fields with such names are.
// shapes are secrets that are known by their form; what the first group has is kept.
var shapes = []*regexp.Regexp{
	regexp.MustCompile(`()-----BEGIN [A-Z ]*(?:PRIVATE KEY|SEED|NKEY|JWT)[A-Z ]*-----(?s:.*?)-+END [A-Z ]*-----`),
	regexp.MustCompile(`()\bS[ACNOUX][A-Z2-7]{56}\b`),                              // the seed of an nkey
	regexp.MustCompile(`()\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), // a signed statement (JWT)
	regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`(://[^/\s:@"\\]*:)[^/\s@"\\]+@`), // user:password@
}

// named values: a word, perhaps quotes, = or :, perhaps quotes, the value. A word may be a
// part of a longer one: NATS_PASSWORD, client-secret.
var namedValue = regexp.MustCompile(`(?i)([A-Za-z0-9_-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key)[A-Za-z0-9_-]*\\?["']?\s*[=:]\s*\\?["']?)([^\s"'\\,;}&]+)`)

// notSecret are fields of the documents whose names sound like a secret: the fencing token
// of a name is a number, and the key of a command is what makes it unique; files are named
// and not shown.
var notSecret = regexp.MustCompile(`^(?:\d+|true|false|null|REMOVED|/.*|\{|\[)$`)

// redact takes what looks like a secret out of a text. In a JSON document it changes what
// is in strings only, so the document stays one.
func redact(text string) string {
	for _, s := range shapes {
		text = s.ReplaceAllString(text, "${1}"+removed)
	}
	text = strings.ReplaceAll(text, removed+"@", removed+"@")
	return namedValue.ReplaceAllStringFunc(text, func(found string) string {
		parts := namedValue.FindStringSubmatch(found)
		if notSecret.MatchString(parts[2]) {
			return found
		}
		return parts[1] + removed
	})
}
