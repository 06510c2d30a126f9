//go:build race

package backend

// raceDetector tells that this test binary is several times slower.
const raceDetector = true
