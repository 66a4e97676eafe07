// A hundred processes, each of which adds up a part of a vector: examples/sums in AssemblyScript.
//
// Every child is sent its index and a copy of the vector, sums the numbers up to the index, and sends the result back to the
// parent, which prints them in order.

import * as lunatic from "./lunatic";

const CHILDREN = 100;

export function _start(): void {
  const numbers: i64[] = [];
  for (let i: i64 = 0; i < CHILDREN; i++) numbers.push(i);
  for (let index: i64 = 0; index < CHILDREN; index++) {
    const child = lunatic.spawn(lunatic.OWN_MODULE, "sum_until", [lunatic.self()]);
    lunatic.send(child, [index].concat(numbers));
  }

  const sums = new Array<i64>(CHILDREN);
  for (let i = 0; i < CHILDREN; i++) {
    const answer = lunatic.receive();
    sums[<i32>answer[0]] = answer[1];
  }
  for (let i = 0; i < CHILDREN; i++) console.log("Sum until " + i.toString() + ": " + sums[i].toString());
}

export function sum_until(parent: lunatic.Process): void {
  const task = lunatic.receive();
  const index = task[0];
  let sum: i64 = 0;
  for (let i: i64 = 0; i <= index; i++) sum += task[1 + <i32>i];
  lunatic.send(parent, [index, sum]);
}
