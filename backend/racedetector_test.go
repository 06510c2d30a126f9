//go:build race

package backend_test

// raceDetector tells that this test binary is several times slower.
const raceDetector = true
