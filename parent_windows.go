package main

import "os"

// awaitParentEnd returns when the process that started this one is gone.
func awaitParentEnd() {
	parent, err := os.FindProcess(os.Getppid())
	if err == nil {
		_, err = parent.Wait() // of any process, here
	}
	if err != nil {
		select {} // without a look at it nothing can be told
	}
}
