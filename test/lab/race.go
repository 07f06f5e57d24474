//go:build race

package lab

// race says that the tests run with the race detector, and so should what
// they build.
const race = true
