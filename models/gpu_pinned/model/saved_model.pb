Ì
«~
C
Placeholder
output"dtype"
dtypetype"
shapeshape:
7
Square
x"T
y"T"
Ttype:
2	"serve*2.21.02v2.21.0-rc1-5-ga481b10260d°
\
xPlaceholder*#
_output_shapes
:ÿÿÿÿÿÿÿÿÿ*
dtype0*
shape:ÿÿÿÿÿÿÿÿÿ
K
ySquarex"/device:GPU:0*
T0*#
_output_shapes
:ÿÿÿÿÿÿÿÿÿ"ª*i
serving_defaultV

x
x:0ÿÿÿÿÿÿÿÿÿ
y
y:0ÿÿÿÿÿÿÿÿÿtensorflow/serving/predict