package admin

import "runtime/debug"

// Version is that of the program and of the Go that built it.
func Version() (program, goVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	return info.Main.Version, info.GoVersion
}
