-- Functions, closures, tables, metatables, coroutines, errors, and numbers as text.

local function fib(n)
    if n < 2 then return n end
    return fib(n - 1) + fib(n - 2)
end
print("fib", fib(22))

local function counter()
    local n = 0
    return function() n = n + 1; return n end
end
local next, other = counter(), counter()
next(); next()
print("closures", next(), other())

local sieve, primes = {}, {}
for i = 2, 10000 do
    if not sieve[i] then
        primes[#primes + 1] = i
        for j = i * i, 10000, i do sieve[j] = true end
    end
end
print("primes", #primes, primes[1], primes[#primes])

local Vector = {}
Vector.__index = Vector
function Vector.new(x, y) return setmetatable({ x = x, y = y }, Vector) end
function Vector:plus(other) return Vector.new(self.x + other.x, self.y + other.y) end
function Vector:length() return math.sqrt(self.x * self.x + self.y * self.y) end
print("metatables", Vector.new(1, 1):plus(Vector.new(2, 3)):length())

local squares = coroutine.create(function(from)
    for i = from, from + 1 do coroutine.yield(i * i) end
    return "done"
end)
print("coroutines", coroutine.resume(squares, 2))
print(coroutine.resume(squares))
print(coroutine.resume(squares))
print(coroutine.status(squares))

print("errors", pcall(function() error("on purpose") end))
print("numbers", 10 / 4, 7 // 2, 7 % -3, 2 ^ 53, 0.1, 1 / 0, math.maxinteger + 1 == math.mininteger)
print("strings", "a" .. 1 .. 2.5, #"gr\u{fc}n", "b" < "a")
error({})
