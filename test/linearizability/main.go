// Checks a history of calls on a shared dictionary, as written to standard output by
// test_record_shared: whether there is an order of all calls, each between its start and its
// return, in which every result is that of a dictionary with a single caller.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

type call struct {
	key      int
	name     string
	expected string
	value    string
}

const none = "none"

// The value of a key: "none", "n" and a number, or "s" and a letter.
func step(state, input, output any) (bool, any) {
	value, in, out := state.(string), input.(call), output.(string)
	done := out == "1"
	switch in.name {
	case "get":
		return out == value, value
	case "set":
		return done, in.value
	case "add":
		if value == none {
			return done, in.value
		}
		return !done, value
	case "delete":
		return done == (value != none), none
	case "cas":
		if value == in.expected {
			return done, in.value
		}
		return !done, value
	case "incr":
		if value == none {
			return out == none, value
		}
		if value[0] == 's' {
			return out == "text", value
		}
		number, _ := strconv.Atoi(value[1:])
		sum := fmt.Sprintf("n%d", number+1)
		return out == sum, sum
	}
	return false, value
}

func partition(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[int][]porcupine.Operation{}
	for _, operation := range history {
		key := operation.Input.(call).key
		keys[key] = append(keys[key], operation)
	}
	var parts [][]porcupine.Operation
	for _, part := range keys {
		parts = append(parts, part)
	}
	return parts
}

func main() {
	var history []porcupine.Operation
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var client, key int
		var called, returned int64
		var name, expected, value, result string
		_, err := fmt.Sscan(lines.Text(), &client, &called, &returned, &key, &name, &expected, &value, &result)
		if err != nil {
			fmt.Println("not a history:", lines.Text())
			os.Exit(2)
		}
		history = append(history, porcupine.Operation{
			ClientId: client, Call: called, Return: returned,
			Input: call{key, name, expected, value}, Output: result,
		})
	}
	model := porcupine.Model{
		Partition: partition,
		Init:      func() any { return none },
		Step:      step,
	}
	result := porcupine.CheckOperationsTimeout(model, history, 5*time.Minute)
	fmt.Printf("%d calls: %s\n", len(history), result)
	if result != porcupine.Ok {
		os.Exit(1)
	}
}
