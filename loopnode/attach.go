package loopnode

// Attach keeps value with the loop under key, in place of what was there; nil
// takes it away. It is for packages that keep something for each loop: a
// process-wide table would keep a dropped loop alive. key is of a type of the
// package's own. Loop goroutine.
func (l *Loop) Attach(key, value any) {
	switch {
	case value == nil:
		delete(l.attached, key)
	case l.attached == nil:
		l.attached = map[any]any{key: value}
	default:
		l.attached[key] = value
	}
}

// Attached is what Attach keeps under key, nil for nothing. Loop goroutine.
func (l *Loop) Attached(key any) any { return l.attached[key] }
