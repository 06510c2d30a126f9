//go:build unix

package alicreds

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the command a process group, which is killed as a whole.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

func startAndWait(cmd *exec.Cmd) error { return cmd.Run() }
