package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPluginEndsWithItsHost kills the server (SIGKILL, as the kernel does when
// memory runs out), which then tells its plugins nothing. They must end by
// themselves, one that serves a request too; a plugin whose host lives must not.
func TestPluginEndsWithItsHost(t *testing.T) {
	t.Parallel()
	const notices = 5 * time.Second // longer than a plugin takes to notice
	const within = 90 * time.Second
	cloud := startCloud(t)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)
	pids := v.pluginPIDs(mount)
	if len(pids) == 0 {
		t.Fatal("no plugin was started")
	}
	pid := pids[len(pids)-1]
	if _, parent := processState(pid); parent != v.process.Pid {
		t.Fatalf("the plugin's parent is %d, and not the server %d", parent, v.process.Pid)
	}
	if !v.isPlugin(pid) {
		t.Error("the plugin is not told from a stranger")
	}
	running := func() bool {
		state, _ := processState(pid)
		return state != "" && state != "Z" // whoever inherits it may not wait for it
	}
	<-time.After(notices)
	if !running() {
		t.Fatal("the plugin ended while its host was alive")
	}
	v.read(t, mount+"/creds/ci")

	begun := time.Now()
	if err := v.process.Kill(); err != nil {
		t.Fatal(err)
	}
	for running() {
		if time.Since(begun) > within {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("%v after its host was killed the plugin was still there", within)
		}
		<-time.After(10 * time.Millisecond)
	}
	fmt.Printf("TestPluginEndsWithItsHost: gone %v after the host\n", time.Since(begun).Round(time.Millisecond))
}

// processState asks the kernel, which puts the command in brackets before the
// state and the parent. A process that is gone has neither; one that nobody has
// waited for yet is a "Z".
func processState(pid int) (state string, parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		rest := string(stat)
		_, err = fmt.Sscan(rest[strings.LastIndex(rest, ")")+1:], &state, &parent)
	}
	if err != nil {
		return "", 0
	}
	return state, parent
}
