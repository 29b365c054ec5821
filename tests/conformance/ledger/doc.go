// Package ledger keeps the books of conformance: which behaviours there are,
// which of them differ here on purpose, which tests claim one, and what came of
// those tests. It reads files and writes none, except for Require's list.
package ledger
