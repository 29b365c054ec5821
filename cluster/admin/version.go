package admin

import "runtime/debug"

// Version is that of the program, as the go command has noted it in the binary
// ("(devel)" when it was built from a checkout), and of the Go that built it.
func Version() (program, goVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	return info.Main.Version, info.GoVersion
}
