package alicreds

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownGroup keeps the command out of this process's console group. What is
// killed as a whole here is a job, see startAndWait.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// startAndWait runs the command in a job object. A process that the command
// starts before it is in the job escapes it; that it may keep the output
// open is bounded by WaitDelay.
func startAndWait(cmd *exec.Cmd) error {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return cmd.Run()
	}
	defer windows.CloseHandle(job)
	kill := cmd.Cancel
	cmd.Cancel = func() error {
		_ = windows.TerminateJobObject(job, 1)
		return kill()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(cmd.Process.Pid))
	if err == nil {
		_ = windows.AssignProcessToJobObject(job, process)
		_ = windows.CloseHandle(process)
	}
	return cmd.Wait()
}
