package wire

// MaxNode is the longest name of a node, a loop or a cluster, in bytes.
const MaxNode = 64

// ValidName reports whether s can be a token of a NATS subject and a part of an
// address: up to MaxNode letters, digits, - and _.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxNode {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
