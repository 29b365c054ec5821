// Package deploy proves what lies in deploy/: the unit of systemd, the manifest of
// Kubernetes and the configuration start a node of this program, their hooks drain it, and
// what they name exists. With the tag foreign, systemd looks at the unit, and a Debian
// package is built, listed, and installed into a folder.
package deploy
