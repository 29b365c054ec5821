//go:build foreign

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// tool runs a program of somebody else in the root of the module.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mostExposed is what systemd gives a service that is locked up well; 10 is one that is not.
const mostExposed = 2.0

// TestSystemdReadsTheUnit: systemd understands every line of it, and finds it locked up.
func TestSystemdReadsTheUnit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loopmesh.service")
	text := strings.ReplaceAll(deployed(t, "systemd/loopmesh.service"), "/usr/bin/loopmesh", "/bin/true")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := tool(t, "systemd-analyze", "verify", "--man=no", path); strings.Contains(said, "loopmesh.service") {
		t.Error(said)
	}
	said := tool(t, "systemd-analyze", "security", "--offline=true", "--no-pager", path)
	m := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(said)
	if m == nil {
		t.Fatal(said)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > mostExposed {
		t.Errorf("its exposure is %s, it was below %v", m[1], mostExposed)
	}
}

// TestTheDebianPackage builds the package, lists it, and installs it into a folder and
// removes it there: the configuration stays until it is purged.
func TestTheDebianPackage(t *testing.T) {
	tool(t, "make", "packages", "VERSION=1.2.3", "BUILD=go build") // as the other tests do, which have built most of it
	deb := filepath.Join("bin", "packages", "loopmesh_1.2.3_"+runtime.GOARCH+".deb")
	listed := tool(t, "dpkg-deb", "-c", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root", "./usr/bin/loopmesh\n", "./usr/lib/systemd/system/loopmesh.service\n", "./usr/lib/sysusers.d/loopmesh.conf\n", "./etc/loopmesh/node.yaml\n",
		"./usr/share/bash-completion/completions/loopmesh\n", "./usr/share/man/man1/loopmesh-start.1\n", "./usr/share/doc/loopmesh/copyright\n",
	} {
		if !strings.Contains(listed, want) {
			t.Errorf("the package has no %q:\n%s", want, listed)
		}
	}
	if info := tool(t, "dpkg-deb", "-I", deb); !strings.Contains(info, "Version: 1.2.3") || !strings.Contains(info, "conffiles") {
		t.Error(info)
	}
	if rpm, err := os.Stat(filepath.Join("..", "..", "bin", "packages", "loopmesh-1.2.3-1.x86_64.rpm")); runtime.GOARCH == "amd64" && (err != nil || rpm.Size() < 1<<20) {
		t.Errorf("the rpm: %v", err)
	}
	root := t.TempDir()
	dpkg := func(args ...string) {
		t.Helper()
		tool(t, "dpkg", append([]string{"--root=" + root, "--force-not-root", "--force-script-chrootless", "--log=" + filepath.Join(root, "log")}, args...)...)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg/info"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, config := filepath.Join(root, "usr/bin/loopmesh"), filepath.Join(root, "etc/loopmesh/node.yaml")
	dpkg("-i", deb)
	if said := tool(t, program, "config", "check", "--config", config); said != "the configuration is in order\n" {
		t.Error(said)
	}
	dpkg("-r", "loopmesh")
	if _, err := os.Stat(program); !os.IsNotExist(err) {
		t.Errorf("the program is still there: %v", err)
	}
	if _, err := os.Stat(config); err != nil {
		t.Errorf("the configuration went with it: %v", err)
	}
	dpkg("-P", "loopmesh")
	if _, err := os.Stat(config); !os.IsNotExist(err) {
		t.Errorf("the configuration is still there: %v", err)
	}
}
